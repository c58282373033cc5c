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
  void write(const void* data) { memcpy(host_.data(), data, host_.size()); }
  void read(void* data) { memcpy(data, host_.data(), host_.size()); }
  void sync(xclBOSyncDirection direction) {
    if (direction == XCL_BO_SYNC_BO_TO_DEVICE) *card_ = host_;
    else host_ = *card_;
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
