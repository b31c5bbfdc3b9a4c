// Which instruction-set level this processor and its operating system offer.
#pragma once

#if defined(_MSC_VER)
#include <intrin.h>
#endif

namespace retemper {

inline const char* processor_level() {
#if defined(_MSC_VER)
  int id[4];
  __cpuidex(id, 7, 0);
  const bool avx2 = (id[1] >> 5) & 1;
  const bool avx512 = ((id[1] >> 16) & 1) && ((id[1] >> 17) & 1) && ((id[1] >> 30) & 1) &&
                      ((id[1] >> 31) & 1) && ((id[1] >> 28) & 1);
  const unsigned long long saved = _xgetbv(0);
  if (avx512 && (saved & 0xE6) == 0xE6) return "v4";
  return avx2 && (saved & 0x6) == 0x6 ? "v3" : "v2";
#elif defined(__x86_64__)
  __builtin_cpu_init();  // the builtin also asks whether the system saves the wide registers
  const bool v4 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
  const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                  __builtin_cpu_supports("bmi2");
  return v4 ? "v4" : v3 ? "v3" : "v2";
#else
  return "base";
#endif
}

}  // namespace retemper
