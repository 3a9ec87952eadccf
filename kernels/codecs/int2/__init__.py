"""int2: two bits an element, for Gaussians, a scale for every 128."""
