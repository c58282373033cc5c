"""The pragma checker: bad snippets are refused with the right message, good ones pass, nothing crashes it."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codesign.errors import SpecError
from hls.pragmas import check_pragmas
from hls.pragmas.grammar import PRAGMAS

IN_FUNCTION = "void f(int a[8], int n) {{\n#pragma HLS {}\n  int i = n;\n}}\n"
IN_LOOP = (
    "void f(int a[8], int n) {{\n  for (int i = 0; i < 8; i++) {{\n#pragma HLS {}\n    a[i] = n;\n  }}\n}}\n"
)
DATAFLOW = "void g(int *x);\nvoid f(int a[8], int n) {{\n#pragma HLS DATAFLOW\n  {}\n}}\n"
DATAFLOW_LOOP = (
    "void g(int *x);\nvoid f(int a[8], int n) {{\n"
    "  int m = 2 * n;\n  {} {{\n#pragma HLS DATAFLOW\n    g(a);\n  }}\n}}\n"
)

BAD = [  # template, what stands in it, expected line, expected message
    (
        IN_FUNCTION,
        "PIPLINE II=1",
        2,
        "pragma name: got 'pipline', expected a pragma of Vitis HLS, did you mean \"pipeline\"",
    ),
    (IN_FUNCTION, "", 2, "pragma name: got nothing, expected a pragma of Vitis HLS"),
    (IN_FUNCTION, "data_pack variable=a", 2, "pragma name: got 'data_pack'"),
    (
        IN_FUNCTION,
        "RESOURCE variable=a core=RAM_2P",
        2,
        "deprecated pragma: got resource, expected bind_op or bind",
    ),
    (IN_FUNCTION, "shared variable=a", 2, "deprecated pragma: got shared, expected stream with type=shared"),
    (IN_FUNCTION, "stream variable=a dim=1", 2, "deprecated option of stream: got dim"),
    (
        IN_FUNCTION,
        "stream variable=a off",
        2,
        "deprecated option of stream: got off, expected type=pipo in its",
    ),
    (
        IN_FUNCTION,
        "stream variable=a depth=0",
        2,
        "stream depth: got '0', expected an integer constant of at least 1",
    ),
    (
        IN_FUNCTION,
        "stream variable=a type=lifo",
        2,
        "stream type: got 'lifo', expected one of fifo, pipo, shared, un",
    ),
    (
        IN_FUNCTION,
        "stream variable=a fifo",
        2,
        "option of stream: got 'fifo', expected one of variable, depth, type",
    ),
    (
        IN_FUNCTION,
        "stream depth=2",
        2,
        "stream: got no variable, expected variable= with the name of a variable",
    ),
    (IN_FUNCTION, "stream variable", 2, "stream variable: got no value, expected the name of a variable"),
    (IN_FUNCTION, "stream variable=", 2, "stream variable: got no value"),
    (IN_FUNCTION, "stream variable=8", 2, "stream variable: got '8', expected the name of a variable"),
    (IN_FUNCTION, "stream variable=a,", 2, "stream variable: got 'a,'"),
    (
        IN_FUNCTION,
        "stream variable=aa",
        2,
        "stream variable: got 'aa', expected a variable declared before it",
    ),
    (
        IN_FUNCTION,
        "array_partition variable=i",
        2,
        "array_partition variable: got 'i', expected a variable declared",
    ),
    (
        IN_FUNCTION,
        "array_partition variable=a factor=2",
        2,
        "factor: got type complete, expected block or cyclic",
    ),
    (
        IN_FUNCTION,
        "array_reshape variable=a complete factor=2",
        2,
        "factor: got type complete, expected block or",
    ),
    (
        IN_FUNCTION,
        "array_partition variable=a cyclic factor=0",
        2,
        "factor: got '0', expected an integer constant of",
    ),
    (IN_FUNCTION, "array_partition variable=a cyclic factor=2.5", 2, "array_partition factor: got '2.5'"),
    (
        IN_FUNCTION,
        "array_partition variable=a dim=-1",
        2,
        "dim: got '-1', expected an integer constant of at least 0",
    ),
    (
        IN_FUNCTION,
        "array_partition variable=a cyclic block",
        2,
        "array_partition type: got it twice, expected it once",
    ),
    (
        IN_FUNCTION,
        "array_partition variable=a dimension=1",
        2,
        "option of array_partition: got 'dimension', expected one of",
    ),
    (IN_FUNCTION, "bind_op variable=n impl=dsp", 2, "bind_op: got no op, expected op= with a name"),
    (IN_FUNCTION, "bind_storage variable=a impl=uram", 2, "bind_storage: got no type"),
    (
        IN_FUNCTION,
        "allocation operation instances=mul",
        2,
        "allocation: got no limit, expected limit= with an integer",
    ),
    (IN_FUNCTION, "dependence inter false", 2, "dependence: got neither, expected one of variable and class"),
    (
        IN_FUNCTION,
        "dependence variable=a class=array",
        2,
        "dependence: got both, expected one of variable and class",
    ),
    (
        IN_FUNCTION,
        "dependence variable=a direction=rar",
        2,
        "direction: got 'rar', expected one of raw, war, waw",
    ),
    (IN_FUNCTION, "PIPELINE II=0", 2, "pipeline ii: got '0', expected an integer constant of at least 1"),
    (IN_FUNCTION, "PIPELINE II=1.0", 2, "pipeline ii: got '1.0', expected an integer constant of at least 1"),
    (IN_FUNCTION, 'PIPELINE II="1"', 2, "pipeline ii: got"),
    (IN_FUNCTION, "PIPELINE II 1", 2, "pipeline ii: got no value"),
    (
        IN_FUNCTION,
        "PIPELINE enable_flush",
        2,
        "deprecated option of pipeline: got enable_flush, expected style=flp in",
    ),
    (IN_FUNCTION, "PIPELINE off=true", 2, "pipeline off: got a value, expected a bare word"),
    (IN_LOOP, "PIPELINE rewind style=flp", 3, "pipeline rewind: got style=flp, expected style=stp"),
    (IN_LOOP, "PIPELINE style=stp off", 3, "pipeline style: got off beside it, expected one of the two"),
    (
        IN_FUNCTION,
        "loop_flatten off",
        2,
        "loop_flatten: got it in the body of a function, expected it in the body of a loop",
    ),
    (IN_FUNCTION, "loop_tripcount max=4", 2, "loop_tripcount: got it in the body of a function"),
    (IN_LOOP, "loop_tripcount min=1", 3, "loop_tripcount: got no max"),
    (
        IN_LOOP,
        "loop_tripcount min=8 max=4",
        3,
        "loop_tripcount: got min=8, max=4, expected them in ascending order",
    ),
    (IN_LOOP, "latency min=3 max=2", 3, "latency: got min=3, max=2"),
    (
        IN_LOOP,
        "function_instantiate variable=n",
        3,
        "got it in the body of a loop, expected it at the top of a func",
    ),
    (IN_LOOP, "unroll factor=-2", 3, "unroll factor: got '-2'"),
    (IN_LOOP, "UNROLL region", 3, "option of unroll: got 'region', expected one of factor, skip_exit_check"),
    (IN_FUNCTION, "interface port=a m_axi", 2, "option of interface: got 'port', expected one of mode"),
    (IN_FUNCTION, "interface", 2, "interface: got no mode"),
    (
        IN_FUNCTION,
        "interface mode=maxi port=a",
        2,
        "interface mode: got 'maxi', expected one of m_axi, s_axilite",
    ),
    (IN_FUNCTION, "interface m_axi", 2, "interface: got no port"),
    (
        IN_FUNCTION,
        "interface m_axi port=x",
        2,
        "interface port: got 'x', expected a parameter of the function",
    ),
    (
        IN_FUNCTION,
        "interface m_axi port=return",
        2,
        "interface port=return: got m_axi, expected one of ap_ctrl_chain",
    ),
    (
        IN_FUNCTION,
        "interface axis port=a bundle=gmem",
        2,
        "option of interface: got 'bundle', expected one of mode",
    ),
    (IN_FUNCTION, "interface m_axi port=a register", 2, "option of interface: got 'register'"),
    (IN_FUNCTION, "interface axis port=a register_mode=sideways", 2, "register_mode: got 'sideways'"),
    (IN_FUNCTION, "protocol loose", 2, "option of protocol: got 'loose', expected one of mode"),
    ("#pragma HLS {}\nvoid f() {{}}\n", "inline", 1, "pragma: got it outside of a function"),
    (
        "struct S {{\n#pragma HLS {}\n  int a;\n}};\n",
        "aggregate variable=a",
        2,
        "pragma: got it outside of a function",
    ),
    ("void f() {{\n#pragma {}\n}}\n", "hls INLINE", 2, "pragma: got hls, expected HLS, or it is ignored"),
    (DATAFLOW, "if (n) g(a);", 4, "dataflow region: got `if ( n ) g (`, expected declarations and calls"),
    (DATAFLOW, "for (int i = 0; i < 4; i++) {{ g(a); }}", 4, "dataflow region: got `for`"),
    (DATAFLOW, "a[0] = n;", 4, "dataflow region: got `a [ 0 ] = n`"),
    (DATAFLOW, "{{ g(a); }}", 3, "dataflow region: got a block"),
    (DATAFLOW, "return;", 4, "dataflow region: got `return`"),
    (DATAFLOW, "static int s;", 4, "dataflow region: got a static scalar, which is treated as local"),
    (
        "int h(int x) {{ return x; }}\n" + DATAFLOW,
        "h(n);",
        5,
        "got `h`, which returns a value, expected functions",
    ),
    ("int h(int x) {{ return x; }}\n" + DATAFLOW, "int y = h(n);", 5, "dataflow region: got a value of `h`"),
    (
        DATAFLOW_LOOP,
        "for (int i = 1; i < n; i++)",
        4,
        "dataflow loop: got `int i = 1`, expected i to start at 0",
    ),
    (DATAFLOW_LOOP, "for (int i = 0; i < n; i += 2)", 4, "dataflow loop: got `i += 2`, expected i++"),
    (
        DATAFLOW_LOOP,
        "for (int i = 0; i <= n; i++)",
        4,
        "got `i <= n`, expected i < a constant or an argument",
    ),
    (
        DATAFLOW_LOOP,
        "for (int i = 0; i < m; i++)",
        4,
        "dataflow loop: got `i < m`, expected i < a constant or an arg",
    ),
    (DATAFLOW_LOOP, "for (int i = 0; i < h(n); i++)", 4, "dataflow loop: got `i < h ( n )`"),
    (
        DATAFLOW_LOOP,
        "for (; n < 4; n++)",
        4,
        "dataflow loop: got `for`, expected a for loop that declares its counter",
    ),
    (DATAFLOW_LOOP, "while (n)", 4, "dataflow loop: got `while`"),
]

GOOD = [
    *(
        (IN_FUNCTION, text)
        for text in (
            "PIPELINE II = 2",
            "pipeline ii=N*2 style=FLP",
            "PIPELINE II=CONFIG_T::reuse_factor",
            "AGGREGATE variable=a compact=bit",
            "alias ports=a offset=0,8",
            "ALLOCATION function instances=pool<int, 2> limit=n",
            "ALLOCATION operation instances=mul limit=(N + 1) / 2",
            "array_partition variable=a type=cyclic factor=0x4 dim=1",
            "ARRAY_RESHAPE variable=a block factor=4 object",
            "bind_op variable=n op=mul impl=dsp latency=-1",
            "bind_storage variable=a,n type=ram_2p impl=uram // a comment",
            "dependence variable=a inter false",
            "DEPENDENCE class=array type=inter direction=RAW distance=4 dependent=true",
            "inline off",
            "interface mode=m_axi port=a bundle=gmem0 offset=slave depth=8 max_widen_bitwidth=512",
            'interface m_axi port=a bundle="gmem"',
            "interface s_axilite port=return",
            "INTERFACE ap_ctrl_chain port=return",
            "interface axis port=a register_mode=both",
            "interface ap_none port=n register",
            "latency min=1 max=4",
            "performance target_ti=1.5",
            "protocol fixed",
            "stable variable=a",
            "stream variable=a depth=2*N type=pipo",
            "stream \\\n variable=a \\\n depth=4",
            "top name=kernel",
        )
    ),
    *(
        (IN_LOOP, text)
        for text in ("UNROLL", "unroll factor=4 skip_exit_check", "loop_flatten", "PIPELINE rewind")
    ),
    (IN_LOOP, "loop_tripcount min=1 avg=2 max=3"),
    (
        DATAFLOW,
        'hls::stream<int> s("s");\n  typedef int T;\n  static const T c = 3;\n#pragma HLS STREAM variable=s\n g(a);',
    ),
    (DATAFLOW, "ns::g<4, T>(a, n);\n  pe.run(a);"),
    (DATAFLOW, "#ifndef __SYNTHESIS__\n  if (n) load(a);\n#endif\n  g(a);"),
    (DATAFLOW, "/* if (n) */ g(a); // for"),
    *((DATAFLOW_LOOP, f"for (int i = 0; i < {bound}; ++i)") for bound in ("n", "8", "T::size", "2 * n - 1")),
    ("void f() {{\n#pragma {}\n}}\n", "once"),
    ("void f() {{\n#pragma {}\n}}\n", "GCC unroll 4"),
    ("#if 0\n#pragma HLS {}\n#endif\n", "nonsense"),
    (
        "struct P {{ int r[4]; void f(); }};\nvoid P::f() {{\n#pragma HLS {}\n}}\n",
        "array_partition variable=r",
    ),
    ("struct P {{ void f() {{\n#pragma HLS {}\n}} int r[4]; }};\n", "array_partition variable=r"),
    ('#include "elsewhere.h"\nvoid f() {{\n#pragma HLS {}\n}}\n', "array_partition variable=table"),
    ("static int table[2] = {{1, 2}};\nvoid f() {{\n#pragma HLS {}\n}}\n", "array_partition variable=table"),
    ("template <class T, int N> void f(T (&x)[N]) {{\n#pragma HLS {}\n}}\n", "array_partition variable=x"),
    ("void f() {{\n  auto g = [&](int *x) {{\n#pragma HLS {}\n  }};\n}}\n", "stable variable=x"),
    ("void f(int x) {{\n  L: for (int i = 0; i < 4; i++) {{\n#pragma HLS {}\n  }}\n}}\n", "loop_flatten"),
    ("void f() {{\n  unsigned int b[2][2], c[4];\n#pragma HLS {}\n}}\n", "array_partition variable=c"),
    ("class A {{ A(int x) : y{{x}}, z(0) {{\n#pragma HLS {}\n }} int y, z; }};\n", "inline"),
]


@pytest.mark.parametrize(
    ("template", "text", "line", "message"), BAD, ids=[case[1] or "nothing" for case in BAD]
)
def test_bad_code_is_refused(template: str, text: str, line: int, message: str) -> None:
    (problem,) = check_pragmas(template.format(text.replace("{{", "{").replace("}}", "}")))
    assert str(problem).startswith(f"<source>:{line}: ")
    assert message in str(problem)


@pytest.mark.parametrize(("template", "text"), GOOD, ids=[case[1] for case in GOOD])
def test_good_code_passes(template: str, text: str) -> None:
    assert check_pragmas(template.format(text)) == []


def test_every_pragma_is_known_by_its_required_options() -> None:
    required = {
        name: {key for key, option in pragma.options.items() if option.required}
        for name, pragma in PRAGMAS.items()
    }
    assert len(PRAGMAS) == 29
    assert required["allocation"] == {"instances", "limit"}
    assert required["bind_op"] == {"variable", "op"}
    assert required["interface"] == {"port"}
    assert required["dependence"] == set()


def test_several_problems_come_in_the_order_of_the_source() -> None:
    source = IN_LOOP.format("unroll factr=2") + IN_FUNCTION.format("inline on")
    assert [problem.line for problem in check_pragmas(source)] == [3, 8]


def test_a_file_is_named_and_its_includes_are_searched(tmp_path: Path) -> None:
    (tmp_path / "table.h").write_text(
        '#include "table.h"\nnamespace t { static const int known[4] = {0}; }\n'
    )
    kernel = tmp_path / "kernel.cpp"
    text = '#include "table.h"\nvoid f() {{\n#pragma HLS array_partition variable={}\n}}\n'
    kernel.write_text(text.format("known"))
    assert check_pragmas(kernel) == []
    kernel.write_text(text.format("unknown"))
    (problem,) = check_pragmas(kernel)
    assert str(problem).startswith(f"{kernel}:3: array_partition variable: got 'unknown'")
    with pytest.raises(SpecError, match="no such file"):
        check_pragmas(tmp_path / "missing.cpp")


WORDS = st.sampled_from(
    [
        *PRAGMAS,
        "variable=a",
        "type",
        "=",
        ",",
        "(",
        ")",
        "<",
        ">",
        "::",
        "factor=2",
        "port",
        "m_axi",
        "off",
        "1",
        '"',
        "'",
    ]
)
SIGNS = '{ } ( ) ; = : :: , [ ] < > /* */ // for static template class int a void f " R"( \\\n'
PIECES = st.sampled_from(
    [
        *SIGNS.split(" "),
        *(f"\n#{line}\n" for line in ("if 0", "else", "endif", "pragma HLS DATAFLOW", "pragma HLS ")),
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(WORDS | st.text("0²٣aB_.'", max_size=3), max_size=8).map(" ".join))
def test_no_pragma_line_crashes_the_checker(text: str) -> None:
    for problem in check_pragmas(IN_FUNCTION.format(text)):
        assert problem.line == 2
        assert "\n" not in str(problem)


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES | st.text(max_size=4), max_size=30).map(" ".join))
def test_no_source_crashes_the_checker(source: str) -> None:
    assert all(1 <= problem.line <= source.count("\n") + 1 for problem in check_pragmas(source))


def test_deep_nesting_is_no_problem() -> None:
    assert check_pragmas("void f() " + "{" * 20_000 + "\n#pragma HLS inline\n" + "}" * 20_000) == []
