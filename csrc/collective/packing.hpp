// Packing: the largest sum of amounts that fit into their limits.
#pragma once

#include <vector>

namespace isthmus {

// Maximises the sum of x over x >= 0, row * x <= limit for every row. At the optimum or, after a
// bounded number of steps, near it: whatever is returned fits. Rows lie one behind another.
// REQUIRES: all coefficients >= 0, all limits > 0, every column has a coefficient above 0.
std::vector<double> most_that_fits(std::vector<double> rows, std::vector<double> limits,
                                   std::size_t columns);

}  // namespace isthmus
