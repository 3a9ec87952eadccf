// The door where Status becomes an exception of isthmus.errors.
#pragma once

#include <string>

#include "base/status.hpp"

namespace isthmus {

// Throws the Python exception of this status' code; `peer` is the lost site's name, or empty. Needs
// the GIL.
[[noreturn]] void raise(const Status& status, const std::string& peer = "");

std::string_view name_of(Code code);
// The other way; a name that is not in the list is itself a mistake of ours.
Code code_named(std::string_view name);

}  // namespace isthmus
