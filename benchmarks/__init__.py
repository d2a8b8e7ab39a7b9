"""Speed, as ratios measured in one run. ``make bench`` runs all of it."""
