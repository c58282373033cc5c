// Dataflow regions in C-simulation: processes are coroutines, which run until a stream makes them wait. A region within
// a process of another region is run by the same scheduler. What they compute does not depend on their order.
#pragma once
#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#ifdef __SANITIZE_ADDRESS__  // g++
#include <sanitizer/common_interface_defs.h>
#endif

namespace csim {

constexpr size_t STACK_BYTES = 256 << 10;
constexpr size_t MOST_REPORTED = 12;

[[noreturn]] inline void fail(const std::string& what) {
  fflush(stdout);
  fprintf(stderr, "C-simulation: %s\n", what.c_str());
  fflush(stderr);
  std::_Exit(1);
}

inline void expect(bool condition, const char* otherwise) {
  if (!condition) fail(otherwise);
}

// A line of execution: a process on a stack of its own, or what is outside of all.
struct Context {
  ucontext_t registers = {};
  const void* stack = nullptr;
  size_t stack_bytes = 0;
};

struct Region;

struct Process : Context {
  std::string name;
  std::function<void()> body;
  Region* region = nullptr;
  std::unique_ptr<char[]> memory;  // of the stack
  const char* action = "";         // what it cannot do yet, and with which stream
  const std::string* object = nullptr;
};

struct Scheduler {
  std::deque<Process*> ready;
  std::list<Process*> unfinished;
  Process* running = nullptr;
  Context outside;
  Region* open = nullptr;                       // the innermost one that processes are added to
  std::vector<std::unique_ptr<char[]>> stacks;  // for reuse
};

inline Scheduler& scheduler() {
  static Scheduler one;
  return one;
}

// Leaves `from` for `to`, until somebody returns to `from`.
inline void go(Context& from, Context& to) {
#ifdef __SANITIZE_ADDRESS__
  void* fake_stack = nullptr;
  __sanitizer_start_switch_fiber(&fake_stack, to.stack, to.stack_bytes);
  swapcontext(&from.registers, &to.registers);
  __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
#else
  swapcontext(&from.registers, &to.registers);
#endif
}

// Suspends the running process until somebody wakes `waiting`.
inline void wait(Process*& waiting, const char* action, const std::string& object) {
  Process* const process = scheduler().running;
  if (process == nullptr) fail("outside of a dataflow region nobody will ever let it " + (action + (" " + object)));
  if (waiting != nullptr) fail("two processes, " + waiting->name + " and " + process->name + ", " + action + " " + object);
  process->action = action;
  process->object = &object;
  waiting = process;
  go(*process, scheduler().outside);
}

inline void wake(Process*& waiting) {
  if (waiting == nullptr) return;
  scheduler().ready.push_back(waiting);
  waiting = nullptr;
}

[[noreturn]] inline void report_deadlock() {
  std::string report = "deadlock";
  size_t count = 0;
  for (const Process* process : scheduler().unfinished) {
    if (count++ >= MOST_REPORTED) continue;
    report += "\n  " + process->name + " waits to " + process->action + " " + *process->object;
  }
  if (count > MOST_REPORTED) report += "\n  and " + std::to_string(count - MOST_REPORTED) + " more processes wait";
  fail(report);
}

struct Region {
  Region() : outer(scheduler().open) { scheduler().open = this; }
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;

  // Runs all processes to their ends.
  void run() {
    Scheduler& all = scheduler();
    all.open = outer;
    unfinished = processes.size();
    for (auto& process : processes) start(*process);
    if (all.running != nullptr) wait(parent, "end", name);
    while (unfinished > 0) step();  // outside of all
    for (auto& process : processes) all.stacks.push_back(std::move(process->memory));
  }

  static void start(Process& process);
  static void step();

  const std::string name = "its dataflow region";
  Region* const outer;
  std::vector<std::unique_ptr<Process>> processes;
  size_t unfinished = 0;
  Process* parent = nullptr;  // waits for the end
};

// What a new process runs, on its own stack.
inline void live() {
  Scheduler& all = scheduler();
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(nullptr, &all.outside.stack, &all.outside.stack_bytes);
#endif
  Process& process = *all.running;
  process.body();
  all.unfinished.remove(&process);
  if (--process.region->unfinished == 0) wake(process.region->parent);
  go(process, all.outside);
}

inline void Region::start(Process& process) {
  Scheduler& all = scheduler();
  if (all.stacks.empty()) all.stacks.emplace_back(new char[STACK_BYTES]);
  process.memory = std::move(all.stacks.back());
  all.stacks.pop_back();
  getcontext(&process.registers);
  process.stack = process.registers.uc_stack.ss_sp = process.memory.get();
  process.stack_bytes = process.registers.uc_stack.ss_size = STACK_BYTES;
  makecontext(&process.registers, live, 0);
  all.unfinished.push_back(&process);
  all.ready.push_back(&process);
}

// Runs one process as far as it gets.
inline void Region::step() {
  Scheduler& all = scheduler();
  if (all.ready.empty()) report_deadlock();
  all.running = all.ready.front();
  all.ready.pop_front();
  go(all.outside, *all.running);
  all.running = nullptr;
}

template <typename... Parameters, size_t... I>
void call(void (*function)(Parameters...), std::tuple<Parameters...>& arguments, std::index_sequence<I...>) {
  function(std::forward<Parameters>(std::get<I>(arguments))...);
}

// Adds a call to the innermost open region. What is passed by reference must live until the region ends.
template <typename... Parameters, typename... Arguments>
void add_process(const char* name, void (*function)(Parameters...), Arguments&&... arguments) {
  const auto kept = std::make_shared<std::tuple<Parameters...>>(std::forward<Arguments>(arguments)...);
  std::unique_ptr<Process> process(new Process);
  process->name = name;
  process->region = scheduler().open;
  process->body = [function, kept] { call(function, *kept, std::index_sequence_for<Parameters...>()); };
  scheduler().open->processes.push_back(std::move(process));
}

}  // namespace csim
