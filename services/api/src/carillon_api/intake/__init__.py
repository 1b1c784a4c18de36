"""Takes events in: reads them, fills in their type's defaults, commits them in groups, hands them on."""
