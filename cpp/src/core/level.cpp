#include "retemper/core/level.hpp"

namespace retemper {

const char* built_level() {
  return RETEMPER_LEVEL;
}

const char* built_compiler() {
#ifdef __VERSION__
  return __VERSION__;
#else
  return "unknown";
#endif
}

}  // namespace retemper
