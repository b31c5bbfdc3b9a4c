// Asking for memory before it is needed.
#pragma once

namespace retemper {

/// Where the processor can: the cache line at `address` is on its way, to be written.
inline void prefetch_to_write([[maybe_unused]] const void* address) {
#if defined(__GNUC__)
  __builtin_prefetch(address, 1, 3);
#endif
}

/// The same for a line that will be read.
inline void prefetch_to_read([[maybe_unused]] const void* address) {
#if defined(__GNUC__)
  __builtin_prefetch(address, 0, 3);
#endif
}

}  // namespace retemper
