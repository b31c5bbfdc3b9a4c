// What CMake runs to learn the level of this machine.
#include <cstdio>

#include "level.hpp"

int main() {
  std::puts(retemper::processor_level());
}
