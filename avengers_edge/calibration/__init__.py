"""Questions in, table out: question files, graders, fit."""
