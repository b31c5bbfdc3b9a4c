// Asking for memory before it is needed.
#pragma once

namespace retemper {

/// Where the processor can: the cache line at `address` is on its way, to be written.
inline void prefetch_to_write([[maybe_unused]] const void* address) {
#if defined(__GNUC__)
  __builtin_prefetch(address, 1, 3);
#endif
}

/// The same for a line that will be read, soon.
inline void prefetch_to_read([[maybe_unused]] const void* address) {
#if defined(__GNUC__)
  __builtin_prefetch(address, 0, 3);
#endif
}

/// And for one that is read later: it waits in the second-level cache.
inline void prefetch_to_read_later([[maybe_unused]] const void* address) {
#if defined(__GNUC__)
  __builtin_prefetch(address, 0, 2);
#endif
}

}  // namespace retemper
