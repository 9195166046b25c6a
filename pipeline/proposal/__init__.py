"""From a folder of photos to a params.yaml that fits it, and how long it is going to take.

`propose` is the file to read first. What is decided stands in `rules`, why in its sentences.
"""
