// host XCLBIN FOLDER: runs FOLDER/program.bin on FOLDER/memory.bin on the card, and compares with FOLDER/expected.bin.
// Before that, each of FOLDER/batch2.bin, batch3.bin, ... that is there replaces the start of memory, and it runs again.
#include <xrt/xrt_bo.h>
#include <xrt/xrt_device.h>
#include <xrt/xrt_kernel.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

enum Argument { PROGRAM, A, B, INDEX, OUT, REPORT };

constexpr size_t WORD_BYTES = 64;
constexpr uint32_t ACCEPTED = 1;

static std::vector<char> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot open " + path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

static xrt::bo upload(const xrt::device& device, const std::vector<char>& data, int bank) {
  xrt::bo buffer(device, data.size(), bank);
  buffer.write(data.data());
  buffer.sync(XCL_BO_SYNC_BO_TO_DEVICE);
  return buffer;
}

static std::vector<char> download(xrt::bo& buffer, size_t size) {
  std::vector<char> data(size);
  buffer.sync(XCL_BO_SYNC_BO_FROM_DEVICE);
  buffer.read(data.data());
  return data;
}

static void check(xrt::bo& report) {
  uint32_t outcome = 0;
  memcpy(&outcome, download(report, WORD_BYTES).data(), sizeof(outcome));
  if (outcome != ACCEPTED) throw std::runtime_error("the kernel refused the program: outcome " + std::to_string(outcome));
}

static int compare(const std::vector<char>& got, const std::vector<char>& expected) {
  size_t differing = 0;
  for (size_t byte = 0; byte < expected.size(); byte++) {
    if (got[byte] == expected[byte]) continue;
    if (differing++ == 0) {
      printf("byte %zu: got 0x%02x, expected 0x%02x\n", byte, unsigned(uint8_t(got[byte])),
             unsigned(uint8_t(expected[byte])));
    }
  }
  printf("%zu of %zu bytes differ\n", differing, expected.size());
  return differing == 0 ? 0 : 1;
}

static int run(const std::string& xclbin, const std::string& folder) {
  const auto program = read_file(folder + "/program.bin"), memory = read_file(folder + "/memory.bin");
  const auto expected = read_file(folder + "/expected.bin");

  xrt::device device(0);
  const auto uuid = device.load_xclbin(xclbin);
  xrt::kernel kernel(device, uuid, "sat_kernel");
  xrt::bo instructions = upload(device, program, kernel.group_id(PROGRAM));
  xrt::bo tensors = upload(device, memory, kernel.group_id(A));
  xrt::bo report = upload(device, std::vector<char>(WORD_BYTES), kernel.group_id(REPORT));

  for (int number = 2;; number++) {
    const auto start = std::chrono::steady_clock::now();
    xrt::run running = kernel(instructions, tensors, tensors, tensors, tensors, report);
    running.wait();
    const std::chrono::duration<double, std::milli> elapsed = std::chrono::steady_clock::now() - start;
    check(report);
    printf("%.3f ms\n", elapsed.count());

    const std::string path = folder + "/batch" + std::to_string(number) + ".bin";
    if (!std::ifstream(path)) break;
    const auto batch = read_file(path);
    tensors.write(batch.data(), batch.size(), 0);
    tensors.sync(XCL_BO_SYNC_BO_TO_DEVICE, batch.size(), 0);
  }
  return compare(download(tensors, memory.size()), expected);
}

int main(int argc, char** argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: %s XCLBIN FOLDER\n", argv[0]);
    return 2;
  }
  try {
    return run(argv[1], argv[2]);
  } catch (const std::exception& error) {
    fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
