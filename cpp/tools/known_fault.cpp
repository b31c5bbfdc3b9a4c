// Two faults that a sanitizer must see before its silence about the core means anything.
#include <vector>

extern "C" int race() {
  int shared = 0;
#pragma omp parallel for num_threads(3)
  for (int i = 0; i < 3; ++i) shared += i;
  return shared;
}

extern "C" int past_the_end(int n) {
  const std::vector<int> values(static_cast<unsigned>(n), 1);
  return values.data()[n];
}

// What Archer is for: the end of a parallel region orders what its threads did.
extern "C" int sound() {
  std::vector<int> values(30, 0);
  for (int repeat = 0; repeat < 20; ++repeat) {
#pragma omp parallel for num_threads(3)
    for (int i = 0; i < 30; ++i) values[static_cast<unsigned>(i)] += i;
#pragma omp parallel for num_threads(3)
    for (int i = 0; i < 30; ++i) values[static_cast<unsigned>(29 - i)] += i;
  }
  return values[3];
}
