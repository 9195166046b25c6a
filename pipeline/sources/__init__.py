"""Where images come from. A source is a function `read` of the data params, and of a folder on disk
for what is too large for the memory, that returns `Images`; its file may also have `faults`, what
its own images cannot be asked for."""

from pipeline.sources import digits, folder

SOURCES = {
    "digits": digits,
    "folder": folder,
}
