"""Measurements that back the claims: speed ratios and studies over seeds."""
