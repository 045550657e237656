"""Measured comparisons: each module measures one thing, as ratios within one run."""
