"""Many questions from a file, answered one by one into another, and gone on with after whatever stopped it."""
