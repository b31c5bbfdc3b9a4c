// What the C++ tests say and count. A test is a program: it returns the number of failures.
#pragma once

#include <cstdio>

namespace retemper::tests {

inline int n_failed = 0;

inline void report(bool holds, const char* what, const char* file, int line) {
  if (holds) return;
  ++n_failed;
  std::fprintf(stderr, "%s:%d: failed: %s\n", file, line, what);
}

/// Whether the call throws this type of exception.
template <class Error, class Call>
bool throws(Call&& call) {
  try {
    call();
  } catch (const Error&) {
    return true;
  } catch (...) {
  }
  return false;
}

}  // namespace retemper::tests

#define CHECK(condition) \
  ::retemper::tests::report(static_cast<bool>(condition), #condition, __FILE__, __LINE__)
