"""The report of measured films: their numbers, what can be said of them, and the page that shows it."""
