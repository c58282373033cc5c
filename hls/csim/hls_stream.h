// Stand-in for Vitis' header of the same name: streams of bounded depth. A process that reads an empty stream or writes
// a full one waits (csim_dataflow.h), so a depth that is too small shows as a deadlock here as it does in hardware.
#pragma once
#include <string>
#include <vector>

#include "csim_dataflow.h"

#define SAT_BOUNDED_STREAMS

namespace hls {

template <typename T>
class stream {
 public:
  stream() : stream("stream", 1) {}
  stream(const std::string& name, size_t depth) { declare(name, depth); }
  stream(const stream&) = delete;
  stream& operator=(const stream&) = delete;
  ~stream() {
    if (count_ > 0) csim::fail(name_ + " is left with " + std::to_string(count_) + " values that nobody read");
  }

  void declare(const std::string& name, size_t depth) {
    name_ = name;
    places_.resize(depth);
  }

  void write(const T& value) {
    while (count_ == places_.size()) csim::wait(writer_, "write", name_);
    places_[(first_ + count_++) % places_.size()] = value;
    csim::wake(reader_);
  }

  T read() {
    while (count_ == 0) csim::wait(reader_, "read", name_);
    const T value = places_[first_];
    first_ = (first_ + 1) % places_.size();
    count_--;
    csim::wake(writer_);
    return value;
  }

 private:
  std::string name_;
  std::vector<T> places_;
  size_t first_ = 0, count_ = 0;
  csim::Process *reader_ = nullptr, *writer_ = nullptr;
};

// Names and depths of an array of streams.
template <typename T, size_t COUNT>
void declare(stream<T> (&streams)[COUNT], const std::string& name, size_t depth) {
  for (size_t i = 0; i < COUNT; i++) streams[i].declare(name + "[" + std::to_string(i) + "]", depth);
}

}  // namespace hls
