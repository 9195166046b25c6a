"""Pages for people that need no network: templates, their style, numbers as text, thumbnails."""
