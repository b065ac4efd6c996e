"""`avengers chat`: what is typed, what is shown, and what the slash commands do."""
