// N:M sparse layers for hls4ml: compressed values, and the position of each in its group.
//
// A layer sums over n_in inputs, cut into groups of m neighbours, of which n are kept for each output:
//     y[o] = bias[o] + sum over groups g and kept k:  value[o, g, k] * x[g * m + position[o, g, k]]
// It takes n_steps steps of n_in / m / n_steps groups each; values and positions are stored step by step, in a
// step by output, group and position. Products are rounded to accum_t before they are added, as in hls4ml's own layers.

#ifndef NNET_NM_SPARSE_H_
#define NNET_NM_SPARSE_H_

#include "hls_stream.h"
#include "nnet_common.h"
#include "nnet_conv_stream.h"
#include "nnet_helpers.h"
#include "nnet_mult.h"

namespace nnet {

template <class data_T, class res_T, typename CONFIG_T>
void nm_product(data_T data[CONFIG_T::n_in], res_T res[CONFIG_T::n_out], typename CONFIG_T::weight_t values[CONFIG_T::n_kept],
                typename CONFIG_T::position_t positions[CONFIG_T::n_kept],
                typename CONFIG_T::bias_t biases[CONFIG_T::n_out]) {
    #pragma HLS INLINE
    static_assert(CONFIG_T::n_in % (CONFIG_T::m * CONFIG_T::n_steps) == 0, "steps must take whole groups");
    static_assert(CONFIG_T::n_kept * CONFIG_T::m == CONFIG_T::n_in * CONFIG_T::n_out * CONFIG_T::n, "n of every m");
    const unsigned n_groups = CONFIG_T::n_in / CONFIG_T::m / CONFIG_T::n_steps; // in one step
    const unsigned n_multipliers = CONFIG_T::n_out * n_groups * CONFIG_T::n;

    typename CONFIG_T::accum_t acc[CONFIG_T::n_out];
    #pragma HLS ARRAY_PARTITION variable=acc complete
    #pragma HLS ARRAY_RESHAPE variable=values cyclic factor=n_multipliers
    #pragma HLS ARRAY_RESHAPE variable=positions cyclic factor=n_multipliers
    #pragma HLS ARRAY_PARTITION variable=biases complete

ResetAccum:
    for (unsigned o = 0; o < CONFIG_T::n_out; o++) {
        #pragma HLS UNROLL
        acc[o] = (typename CONFIG_T::accum_t)biases[o];
    }

Steps:
    for (unsigned step = 0; step < CONFIG_T::n_steps; step++) {
        #pragma HLS PIPELINE II=1
    Outputs:
        for (unsigned o = 0; o < CONFIG_T::n_out; o++) {
            #pragma HLS UNROLL
        Groups:
            for (unsigned g = 0; g < n_groups; g++) {
                #pragma HLS UNROLL
            Kept:
                for (unsigned k = 0; k < CONFIG_T::n; k++) {
                    #pragma HLS UNROLL
                    const unsigned entry = ((step * CONFIG_T::n_out + o) * n_groups + g) * CONFIG_T::n + k;
                    const data_T x = data[(step * n_groups + g) * CONFIG_T::m + (unsigned)positions[entry]];
                    const typename CONFIG_T::accum_t product =
                        CONFIG_T::template product<data_T, typename CONFIG_T::weight_t>::product(x, values[entry]);
                    acc[o] += product;
                }
            }
        }
    }

Result:
    for (unsigned o = 0; o < CONFIG_T::n_out; o++) {
        #pragma HLS UNROLL
        res[o] = cast<data_T, res_T, CONFIG_T>(acc[o]);
    }
}

// Fully connected, io_parallel.
template <class data_T, class res_T, typename CONFIG_T>
void nm_dense(data_T data[CONFIG_T::n_in], res_T res[CONFIG_T::n_out], typename CONFIG_T::weight_t values[CONFIG_T::n_kept],
              typename CONFIG_T::position_t positions[CONFIG_T::n_kept],
              typename CONFIG_T::bias_t biases[CONFIG_T::n_out]) {
    #pragma HLS INLINE OFF
    nm_product<data_T, res_T, CONFIG_T>(data, res, values, positions, biases);
}

// Fully connected, io_stream.
template <class data_T, class res_T, typename CONFIG_T>
void nm_dense(hls::stream<data_T> &data_stream, hls::stream<res_T> &res_stream,
              typename CONFIG_T::weight_t values[CONFIG_T::n_kept],
              typename CONFIG_T::position_t positions[CONFIG_T::n_kept],
              typename CONFIG_T::bias_t biases[CONFIG_T::n_out]) {
    typename data_T::value_type data[CONFIG_T::n_in];
    #pragma HLS ARRAY_PARTITION variable=data complete
    typename res_T::value_type res[CONFIG_T::n_out];
    #pragma HLS ARRAY_PARTITION variable=res complete

Read:
    for (unsigned i = 0; i < CONFIG_T::n_in / data_T::size; i++) {
        #pragma HLS PIPELINE II=1
        const data_T pack = data_stream.read();
    Unpack:
        for (unsigned j = 0; j < data_T::size; j++) {
            #pragma HLS UNROLL
            data[i * data_T::size + j] = pack[j];
        }
    }

    nm_product<typename data_T::value_type, typename res_T::value_type, CONFIG_T>(data, res, values, positions, biases);

Write:
    for (unsigned i = 0; i < CONFIG_T::n_out / res_T::size; i++) {
        #pragma HLS PIPELINE II=1
        res_T pack;
    Pack:
        for (unsigned j = 0; j < res_T::size; j++) {
            #pragma HLS UNROLL
            pack[j] = res[i * res_T::size + j];
        }
        res_stream.write(pack);
    }
}

// 2-D convolution, io_parallel, channels last: a product over the window of each pixel.
template <class data_T, class res_T, typename CONFIG_T>
void nm_conv_2d(data_T data[CONFIG_T::in_height * CONFIG_T::in_width * CONFIG_T::n_chan],
                res_T res[CONFIG_T::out_height * CONFIG_T::out_width * CONFIG_T::n_out],
                typename CONFIG_T::weight_t values[CONFIG_T::n_kept],
                typename CONFIG_T::position_t positions[CONFIG_T::n_kept],
                typename CONFIG_T::bias_t biases[CONFIG_T::n_out]) {
    #pragma HLS INLINE OFF
    data_T window[CONFIG_T::n_in];
    #pragma HLS ARRAY_PARTITION variable=window complete
    res_T pixel[CONFIG_T::n_out];
    #pragma HLS ARRAY_PARTITION variable=pixel complete

Rows:
    for (unsigned row = 0; row < CONFIG_T::out_height; row++) {
    Columns:
        for (unsigned col = 0; col < CONFIG_T::out_width; col++) {
        WindowRows:
            for (unsigned i = 0; i < CONFIG_T::filt_height; i++) {
                #pragma HLS UNROLL
            WindowColumns:
                for (unsigned j = 0; j < CONFIG_T::filt_width; j++) {
                    #pragma HLS UNROLL
                    const int y = (int)(row * CONFIG_T::stride_height + i) - (int)CONFIG_T::pad_top;
                    const int x = (int)(col * CONFIG_T::stride_width + j) - (int)CONFIG_T::pad_left;
                    const bool inside =
                        y >= 0 && y < (int)CONFIG_T::in_height && x >= 0 && x < (int)CONFIG_T::in_width;
                Channels:
                    for (unsigned c = 0; c < CONFIG_T::n_chan; c++) {
                        #pragma HLS UNROLL
                        window[(i * CONFIG_T::filt_width + j) * CONFIG_T::n_chan + c] =
                            inside ? data[(y * CONFIG_T::in_width + x) * CONFIG_T::n_chan + c] : data_T(0);
                    }
                }
            }
            nm_product<data_T, res_T, CONFIG_T>(window, pixel, values, positions, biases);
        Filters:
            for (unsigned o = 0; o < CONFIG_T::n_out; o++) {
                #pragma HLS UNROLL
                res[(row * CONFIG_T::out_width + col) * CONFIG_T::n_out + o] = pixel[o];
            }
        }
    }
}

// 2-D convolution, io_stream, channels last, padded before: the window slides by hls4ml's line buffer.
template <class data_T, class res_T, typename CONFIG_T>
void nm_conv_2d(hls::stream<data_T> &data_stream, hls::stream<res_T> &res_stream,
                typename CONFIG_T::weight_t values[CONFIG_T::n_kept],
                typename CONFIG_T::position_t positions[CONFIG_T::n_kept],
                typename CONFIG_T::bias_t biases[CONFIG_T::n_out]) {
    static ap_shift_reg<typename data_T::value_type, CONFIG_T::in_width> line_buffer[MAX(CONFIG_T::filt_height - 1, 1)]
                                                                                    [CONFIG_T::n_chan];
    #pragma HLS ARRAY_PARTITION variable=line_buffer complete dim=2
    typename data_T::value_type window[CONFIG_T::n_in];
    #pragma HLS ARRAY_PARTITION variable=window complete
    typename res_T::value_type pixel[CONFIG_T::n_out];
    #pragma HLS ARRAY_PARTITION variable=pixel complete

Rows:
    for (unsigned row = 0; row < CONFIG_T::in_height; row++) {
    Columns:
        for (unsigned col = 0; col < CONFIG_T::in_width; col++) {
            nnet::shift_line_buffer<data_T, CONFIG_T>(data_stream.read(), line_buffer, window);
            const bool whole = row + 1 >= CONFIG_T::filt_height && col + 1 >= CONFIG_T::filt_width;
            const bool wanted = (row + 1 - CONFIG_T::filt_height) % CONFIG_T::stride_height == 0 &&
                                (col + 1 - CONFIG_T::filt_width) % CONFIG_T::stride_width == 0;
            if (whole && wanted) {
                nm_product<typename data_T::value_type, typename res_T::value_type, CONFIG_T>(window, pixel, values,
                                                                                              positions, biases);
                res_T pack;
            Filters:
                for (unsigned o = 0; o < CONFIG_T::n_out; o++) {
                    #pragma HLS UNROLL
                    pack[o] = pixel[o];
                }
                res_stream.write(pack);
            }
        }
    }
}

} // namespace nnet

#endif
