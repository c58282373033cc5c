# vitis-run --mode hls --tcl run_hls.tcl; before 2023.2: vitis_hls -f run_hls.tcl
open_project -reset build/hls_tcl
set_top sat_kernel
add_files src/sat.cpp -cflags "-std=c++14 -Isrc"
add_files -tb tb/sat_tb.cpp -cflags "-std=c++14 -Isrc"
add_files -tb [glob tb/data/*]
open_solution -reset solution -flow_target vitis
set_part @PART@
create_clock -period @PERIOD_NS@ns
csim_design
csynth_design
export_design -format xo -output build/sat_kernel.xo
exit
