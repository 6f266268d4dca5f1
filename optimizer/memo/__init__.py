"""The decision memo of a comparison: its sections, in English or Chinese, as a page or as Markdown."""
