"""f32: the elements as they are."""
