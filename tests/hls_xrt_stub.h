// Stand-in for XRT: a card whose memory is the host's and whose kernel is called as a function.
#pragma once
#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "sat.hpp"

enum xclBOSyncDirection { XCL_BO_SYNC_BO_TO_DEVICE, XCL_BO_SYNC_BO_FROM_DEVICE };

namespace xrt {

struct device {
  explicit device(unsigned) {}
  int load_xclbin(const std::string&) { return 0; }
};

// A buffer on both sides: what is written reaches the card, and what the card wrote the host, only when it is synced.
class bo {
 public:
  bo(const device&, size_t size, int) : host_(size), card_(std::make_shared<std::vector<char>>(size)) {}
  void write(const void* data) { write(data, host_.size(), 0); }
  void write(const void* data, size_t size, size_t offset) { memcpy(host_.data() + offset, data, size); }
  void read(void* data) { memcpy(data, host_.data(), host_.size()); }
  void sync(xclBOSyncDirection direction) { sync(direction, host_.size(), 0); }
  void sync(xclBOSyncDirection direction, size_t size, size_t offset) {
    std::vector<char>&from = direction == XCL_BO_SYNC_BO_TO_DEVICE ? host_ : *card_, &to = &from == &host_ ? *card_ : host_;
    memcpy(to.data() + offset, from.data() + offset, size);
  }
  sat::Word* words() const { return reinterpret_cast<sat::Word*>(card_->data()); }

 private:
  std::vector<char> host_;
  std::shared_ptr<std::vector<char>> card_;
};

struct run {
  void wait() {}
};

struct kernel {
  kernel(const device&, int, const std::string& name) {
    if (name != "sat_kernel") throw std::runtime_error("no kernel " + name);
  }
  int group_id(int) const { return 0; }
  run operator()(const bo& program, const bo& a, const bo& b, const bo& index, const bo& out, const bo& report) {
    sat_kernel(program.words(), a.words(), b.words(), index.words(), out.words(), report.words());
    return {};
  }
};

}  // namespace xrt
