// What this library was compiled with.
#pragma once

namespace retemper {

const char* built_level();     ///< instruction-set level: v2, v3, v4 or base
const char* built_compiler();  ///< its version

}  // namespace retemper
