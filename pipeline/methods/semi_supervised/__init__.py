"""Methods that learn from unlabelled images, with labels made at every step."""

from pipeline.methods.semi_supervised.fixmatch import FixMatch
from pipeline.methods.semi_supervised.flexmatch import FlexMatch
from pipeline.methods.semi_supervised.freematch import FreeMatch
from pipeline.methods.semi_supervised.mean_teacher import MeanTeacher
from pipeline.methods.semi_supervised.pseudo_label import OnlinePseudoLabel
from pipeline.methods.semi_supervised.softmatch import SoftMatch
from pipeline.methods.semi_supervised.uda import UnsupervisedDataAugmentation

SEMI_SUPERVISED = {
    "pseudo_label": OnlinePseudoLabel,
    "mean_teacher": MeanTeacher,
    "uda": UnsupervisedDataAugmentation,
    "fixmatch": FixMatch,
    "flexmatch": FlexMatch,
    "freematch": FreeMatch,
    "softmatch": SoftMatch,
}
