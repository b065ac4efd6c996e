"""Questions in, table out: question files, graders, outcomes, fit, evaluate."""
