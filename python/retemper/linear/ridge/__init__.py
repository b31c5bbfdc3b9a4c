"""Ridge towards a source: the path of all ridges, candidates on it, their contest, the report."""
