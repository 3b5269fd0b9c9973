"""Charts as inline SVG: functions that take numbers and return markup and the data table behind it.

They use the page's colour tokens through classes, so a chart follows the theme and prints without being drawn again. No
chart has an inline style (the content security policy forbids them) and none needs a script.
"""

from api.web.charts.curve import CurveLook, effect_curve
from api.web.charts.forest import Forest, ForestRow, forest
from api.web.charts.interval import IntervalLook, axis_header, interval
from api.web.charts.markup import Chart, DataTable
from api.web.charts.progress import progress_bar
from api.web.charts.scale import Scale, shared_scale

__all__ = [
    "Chart",
    "CurveLook",
    "DataTable",
    "Forest",
    "ForestRow",
    "IntervalLook",
    "Scale",
    "axis_header",
    "effect_curve",
    "forest",
    "interval",
    "progress_bar",
    "shared_scale",
]
