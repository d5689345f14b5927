# Made by unasync of aio/__init__.py: do not edit.
