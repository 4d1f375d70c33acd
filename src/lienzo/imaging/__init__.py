"""The only place that decodes or encodes pictures: limits, metadata, grids, tiles, masks, previews."""
