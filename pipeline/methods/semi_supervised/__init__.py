"""Methods that learn from unlabelled images, with labels made at every step."""

from pipeline.methods.semi_supervised.fixmatch import FixMatch
from pipeline.methods.semi_supervised.pseudo_label import OnlinePseudoLabel
from pipeline.methods.semi_supervised.uda import UnsupervisedDataAugmentation

SEMI_SUPERVISED = {
    "pseudo_label": OnlinePseudoLabel,
    "uda": UnsupervisedDataAugmentation,
    "fixmatch": FixMatch,
}
