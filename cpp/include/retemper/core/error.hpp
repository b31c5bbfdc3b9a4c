// What can be thrown out of the core, and nothing else.
#pragma once

#include <stdexcept>
#include <string>

#if defined(__GNUC__)
#define RETEMPER_VISIBLE __attribute__((visibility("default")))  // one type in every library
#else
#define RETEMPER_VISIBLE
#endif

namespace retemper {

/// A caller's value is outside the stated domain: ValueError in Python.
struct RETEMPER_VISIBLE ArgumentError : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

/// Arithmetic broke (not positive definite, overflow, NaN): retemper.NumericalError in Python.
struct RETEMPER_VISIBLE NumericalError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A stop was asked for through Control: KeyboardInterrupt in Python.
struct RETEMPER_VISIBLE Interrupted : std::runtime_error {
  Interrupted() : std::runtime_error("interrupted") {}
};

/// Throws ArgumentError(message) unless the condition holds.
inline void require(bool condition, const char* message) {
  if (!condition) throw ArgumentError(message);
}

}  // namespace retemper
