"""Tests, bounds and plans that decide whether a candidate's quality has dropped.

The usual way through: `shortlist` orders candidates from selection rows, `judge` tests one metric
of one group on sealed rows, `combine` joins the groups, `run_fixed_sequence` runs the order.
"""

from jettison.statistics.fixed_sequence import (
    FixedSequence,
    Part,
    Prospect,
    Ranked,
    run_fixed_sequence,
    shortlist,
)
from jettison.statistics.group_gaps import Combined, combine, individually_held
from jettison.statistics.intervals import (
    Interval,
    clopper_pearson_interval,
    log_ratio_interval,
    mean_interval,
    newcombe_interval,
    wilson_interval,
)
from jettison.statistics.non_inferiority import (
    agreement_harm_p_value,
    agreement_p_value,
    agreement_upper_bound,
    paired_binary_harm_p_value,
    paired_binary_p_value,
    paired_binary_upper_bound,
    tango_z,
)
from jettison.statistics.paired import columns_of, linear_drops, value_of
from jettison.statistics.sample_size import (
    IMPOSSIBLE,
    agreement_rows_needed,
    floor_rows,
    mean_rows_needed,
    paired_binary_power,
    pass_probability,
    rows_needed,
)
from jettison.statistics.skewed_means import skewed_floor, skewed_rows_needed
from jettison.statistics.verdicts import Grade, Judgement, Kind, Paired, Verdict, judge

__all__ = [
    "IMPOSSIBLE",
    "Combined",
    "FixedSequence",
    "Grade",
    "Interval",
    "Judgement",
    "Kind",
    "Paired",
    "Part",
    "Prospect",
    "Ranked",
    "Verdict",
    "agreement_harm_p_value",
    "agreement_p_value",
    "agreement_rows_needed",
    "agreement_upper_bound",
    "clopper_pearson_interval",
    "columns_of",
    "combine",
    "floor_rows",
    "individually_held",
    "judge",
    "linear_drops",
    "log_ratio_interval",
    "mean_interval",
    "mean_rows_needed",
    "newcombe_interval",
    "paired_binary_harm_p_value",
    "paired_binary_p_value",
    "paired_binary_power",
    "paired_binary_upper_bound",
    "pass_probability",
    "rows_needed",
    "run_fixed_sequence",
    "shortlist",
    "skewed_floor",
    "skewed_rows_needed",
    "tango_z",
    "value_of",
    "wilson_interval",
]
