// Runs blocks_bench: each cycle takes one input word from stdin and gives the output word of that cycle to stdout.
#include <cstdio>

#include "Vtop.h"
#include "verilated.h"

int main() {
  Vtop top;
  while (fread(&top.in, sizeof(top.in), 1, stdin) == 1) {
    top.clk = 0;
    top.eval();
    fwrite(&top.out, sizeof(top.out), 1, stdout);
    top.clk = 1;
    top.eval();
  }
}
