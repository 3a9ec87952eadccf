"""What differential privacy needs of arithmetic. The promise itself is made elsewhere."""
