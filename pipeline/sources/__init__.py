"""Where images come from. A source is a function of the data params that returns `Images`; its file
may also have `faults`, what its own images cannot be asked for."""

from pipeline.sources import digits, folder

SOURCES = {
    "digits": digits,
    "folder": folder,
}
