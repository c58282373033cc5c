// Streams that keep time, in place of csim/hls_stream.h: every process has a clock that its loop advances, a value can be
// read FIFO_CYCLES after it was written, and a place be written again after it was read. Clocks do not depend on the
// order in which the coroutines run.
#pragma once
#include <algorithm>
#include <map>

#include "csim_dataflow.h"

#define SAT_BOUNDED_STREAMS

namespace csim {

struct Clock {
  std::string process;
  long now = 0, trips = 0;
};

inline std::map<Process*, Clock>& clocks() {
  static std::map<Process*, Clock> all;
  return all;
}

inline long& now() { return clocks()[scheduler().running].now; }

// An iteration of the running process' loop.
inline void tick() {
  Clock& clock = clocks()[scheduler().running];
  clock.process = scheduler().running->name;
  clock.now++;
  clock.trips++;
}

}  // namespace csim

namespace hls {

template <typename T>
class stream {
 public:
  void declare(const std::string& name, size_t depth) {
    name_ = name;
    places_.resize(depth);
  }

  void write(const T& value) {
    while (count_ == places_.size()) csim::wait(writer_, "write", name_);
    Place& place = places_[(first_ + count_++) % places_.size()];
    csim::now() = std::max(csim::now(), place.read + 1);
    const bool is_mac = csim::scheduler().running->name == "row_macs";
    place = {value, csim::now() + FIFO_CYCLES + (is_mac ? MAC_CYCLES : 0), 0};
    csim::wake(reader_);
  }

  T read() {
    while (count_ == 0) csim::wait(reader_, "read", name_);
    Place& place = places_[first_];
    csim::now() = place.read = std::max(csim::now(), place.ready);
    first_ = (first_ + 1) % places_.size();
    count_--;
    csim::wake(writer_);
    return place.value;
  }

 private:
  struct Place {
    T value;
    long ready, read;
  };
  std::string name_;
  std::vector<Place> places_;
  size_t first_ = 0, count_ = 0;
  csim::Process *reader_ = nullptr, *writer_ = nullptr;
};

template <typename T, size_t COUNT>
void declare(stream<T> (&streams)[COUNT], const std::string& name, size_t depth) {
  for (size_t i = 0; i < COUNT; i++) streams[i].declare(name + "[" + std::to_string(i) + "]", depth);
}

}  // namespace hls
