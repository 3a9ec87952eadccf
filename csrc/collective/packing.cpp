// Dantzig's simplex method on a condensed tableau: a column for each variable that is zero now, a
// row for each that is not. Since zero fits, it begins there.
#include "collective/packing.hpp"

#include <cstddef>
#include <utility>

namespace isthmus {
namespace {

class Tableau {
 public:
  Tableau(std::vector<double> rows, std::vector<double> limits, std::size_t columns)
      : columns_(columns),
        cells_(std::move(rows)),
        limits_(std::move(limits)),
        gain_(columns, 1.0) {
    for (std::size_t i = 0; i < columns_; ++i) at_zero_.push_back(i);
    for (std::size_t i = 0; i < limits_.size(); ++i) basis_.push_back(columns_ + i);
  }

  // False: no step makes the sum larger.
  bool step() {
    std::size_t column = 0;
    for (std::size_t i = 1; i < columns_; ++i)
      if (gain_[i] > gain_[column]) column = i;
    if (!(gain_[column] > tiny)) return false;
    std::size_t row = limits_.size();
    for (std::size_t i = 0; i < limits_.size(); ++i) {
      if (!(cell(i, column) > tiny)) continue;
      if (row == limits_.size() || limits_[i] * cell(row, column) < limits_[row] * cell(i, column))
        row = i;
    }
    if (row == limits_.size()) return false;
    pivot(row, column);
    return true;
  }

  std::vector<double> values() const {
    std::vector<double> x(columns_);
    for (std::size_t i = 0; i < basis_.size(); ++i)
      if (basis_[i] < columns_) x[basis_[i]] = limits_[i];
    return x;
  }

 private:
  static constexpr double tiny = 1e-9;

  double& cell(std::size_t row, std::size_t column) { return cells_[row * columns_ + column]; }

  // The row's variable becomes zero, the column's takes its place.
  void pivot(std::size_t row, std::size_t column) {
    const double by = cell(row, column);
    for (std::size_t i = 0; i < columns_; ++i) cell(row, i) /= by;
    limits_[row] /= by;
    cell(row, column) = 1 / by;
    for (std::size_t i = 0; i < limits_.size(); ++i) {
      const double times = cell(i, column);
      if (i == row || times == 0) continue;
      for (std::size_t k = 0; k < columns_; ++k)
        if (k != column) cell(i, k) -= times * cell(row, k);
      cell(i, column) = -times / by;
      limits_[i] -= times * limits_[row];
      if (limits_[i] < 0) limits_[i] = 0;  // rounding
    }
    const double times = gain_[column];
    for (std::size_t k = 0; k < columns_; ++k)
      if (k != column) gain_[k] -= times * cell(row, k);
    gain_[column] = -times / by;
    std::swap(basis_[row], at_zero_[column]);
  }

  std::size_t columns_;
  std::vector<double> cells_;   // of each row
  std::vector<double> limits_;  // what each row's variable is now
  std::vector<double> gain_;    // of the sum, with each column's variable
  std::vector<std::size_t> at_zero_;
  std::vector<std::size_t> basis_;
};

}  // namespace

std::vector<double> most_that_fits(std::vector<double> rows, std::vector<double> limits,
                                   std::size_t columns) {
  const std::size_t most_steps = 8 * (columns + 8);
  Tableau tableau(std::move(rows), std::move(limits), columns);
  for (std::size_t i = 0; i < most_steps && tableau.step(); ++i) {
  }
  return tableau.values();
}

}  // namespace isthmus
