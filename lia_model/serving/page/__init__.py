"""The files of the web page, which `http/page_files.py` sends."""
