// ISTHMUS_CHECK: a promise that our own code makes to itself. Nothing that a peer or a user sends
// may reach one.
#pragma once

#include <cstdio>
#include <cstdlib>

#define ISTHMUS_CHECK(condition)                                                       \
  do {                                                                                 \
    if (!(condition)) {                                                                \
      std::fprintf(stderr, "isthmus: %s:%d: broken promise: %s\n", __FILE__, __LINE__, \
                   #condition);                                                        \
      std::abort();                                                                    \
    }                                                                                  \
  } while (false)
