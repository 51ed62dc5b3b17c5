"""One template file becomes a syntax tree in which everything left is allowed and bounded.

Invariant: what `parse` returns holds only the node types of `ALLOWED`; attribute chains, arithmetic, method calls and
loops have become calls of bounded functions, and every line number says which file it belongs to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from jinja2 import TemplateSyntaxError, nodes
from jinja2.visitor import NodeTransformer

from engine.dispatch.filters.filters import METHODS
from engine.dispatch.filters.list_filters import FILTERS, TESTS_AT
from engine.dispatch.filters.questions import SIGNS as TEST_SIGNS
from engine.dispatch.filters.questions import TESTS
from engine.dispatch.filters.sandbox import TEXT
from engine.dispatch.templates.template_problem import TemplateProblem, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE_LENGTH_MAX: Final = 262_144  # characters of one file
NODES_MAX: Final = 20_000
DEPTH_MAX: Final = 80
LINES_PER_FILE: Final = 1_000_000  # encoded line = index of the file * this + line

LOOP_MEMBERS: Final = frozenset({"index", "index0", "first", "last", "length", "revindex", "revindex0"})
SIGNS: Final[dict[type[nodes.BinExpr], str]] = {
    nodes.Add: "+",
    nodes.Sub: "-",
    nodes.Mul: "*",
    nodes.Div: "/",
    nodes.FloorDiv: "//",
    nodes.Mod: "%",
    nodes.Pow: "**",
}
ALLOWED: Final = frozenset(
    (  # noqa: SIM905 - forty lines of one word each are not easier to read
        "Template Output TemplateData If For Assign With Macro CallBlock Block Extends Include FromImport Const Name Tuple "
        "List Dict Pair Keyword Filter Test Compare Operand And Or Not Neg Pos CondExpr Getattr Getitem Slice Call Concat "
        "Add Sub Mul Div FloorDiv Mod Pow"
    ).split()
)
TAGS: Final = {
    "AssignBlock": "{% set x %}…{% endset %}",
    "FilterBlock": "{% filter %}",
    "Import": "{% import %}",
    "ScopedEvalContextModifier": "{% autoescape %}",
    "NSRef": "namespace",
}


class TemplateSources:
    """The files of a template set, so that an encoded line finds its way back. Grows while loading, then is only read."""

    def __init__(self) -> None:
        """Start without files; index 0 means "unknown"."""
        self.files: list[str] = [""]
        self.texts: list[list[str]] = [[]]

    def add(self, file: str, text: str) -> int:
        """Remember a file; return its index."""
        self.files.append(file)
        self.texts.append(text.split("\n"))
        return len(self.files) - 1

    def place(self, encoded: int) -> tuple[str, int]:
        """Return the file and the line of an encoded line."""
        index, line = divmod(encoded, LINES_PER_FILE)
        return self.files[index], line

    def problem(self, encoded: int, code: str, *, message: str, word: str = "") -> TemplateProblem:
        """Return a problem at an encoded line, at the column where `word` is first found in it."""
        index, line = divmod(encoded, LINES_PER_FILE)
        lines = self.texts[index]
        column = lines[line - 1].find(word) + 1 if word and 0 < line <= len(lines) else 1
        return TemplateProblem(self.files[index], line, max(column, 1), code, message)


def parse(
    source: str, index: int, *, first_line: int, sources: TemplateSources, problems: list[TemplateProblem]
) -> nodes.Template:
    """Parse one file, or one value of its front matter, that starts at `first_line` of file `index`.

    Problems are collected; after one the tree may be empty, and must not be rendered.
    """
    empty = nodes.Template([], lineno=index * LINES_PER_FILE + first_line)
    base = index * LINES_PER_FILE + first_line - 1
    if len(source) > SOURCE_LENGTH_MAX:
        problems.append(sources.problem(base + 1, "too_large", message=f"longer than {SOURCE_LENGTH_MAX} characters"))
        return empty
    try:
        tree = TEXT.parse(source)
        _bounded(tree)
        rewriter = Rewriter(base, sources=sources, problems=problems)
        rewritten = rewriter.visit(tree)
    except TemplateSyntaxError as error:
        problems.append(sources.problem(base + error.lineno, "syntax", message=error.message or "this cannot be read"))
        return empty
    except (RecursionError, MemoryError, TooDeep):
        message = f"too complex: at most {NODES_MAX} elements, nested at most {DEPTH_MAX} deep"
        problems.append(sources.problem(base + 1, "too_large", message=message))
        return empty
    except (ValueError, OverflowError) as error:  # such as an integer of 5,000 digits
        problems.append(sources.problem(base + 1, "syntax", message=str(error)))
        return empty
    assert isinstance(rewritten, nodes.Template)
    return rewritten


COMPARED = frozenset({"eq", "ne", "lt", "lteq", "gt", "gteq"})


class TooDeep(Exception):
    """A tree is larger or deeper than we take."""


def _bounded(tree: nodes.Node) -> None:
    stack: list[tuple[nodes.Node, int]] = [(tree, 0)]
    count = 0
    while stack:
        node, depth = stack.pop()
        count += 1
        if depth > DEPTH_MAX or count > NODES_MAX:
            raise TooDeep
        stack.extend((child, depth + 1) for child in node.iter_child_nodes())


def node_count(tree: nodes.Node) -> int:
    """Count the nodes of a tree, itself included."""
    return 1 + sum(node_count(child) for child in tree.iter_child_nodes())


def filter_call(value: nodes.Expr, name: str, *args: Any) -> nodes.Filter:
    """Return the node that calls one of the bounded functions; plain values become constants."""
    given = [arg if isinstance(arg, nodes.Expr) else nodes.Const(arg, lineno=value.lineno) for arg in args]
    return nodes.Filter(value, name, given, [], None, None, lineno=value.lineno)


class Rewriter(NodeTransformer):
    """Checks every node and replaces what is not bounded by itself."""

    def __init__(self, base: int, *, sources: TemplateSources, problems: list[TemplateProblem]) -> None:
        """`base` is added to each line, so that lines of different files can stand in one tree."""
        self._base = base
        self._sources = sources
        self._problems = problems
        self._loops = 0
        self._last = base + 1

    def visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> Any:
        """Move the node's line, refuse what is not allowed, go on."""
        line: int | None = node.lineno  # the Scope around {% autoescape %} has none
        node.lineno = self._last = self._last if line is None else line + self._base
        kind = type(node).__name__
        if kind not in ALLOWED:
            self._report(node, "not_allowed", f"{TAGS.get(kind, kind)} is not possible in a template")
            return nodes.Const("", lineno=node.lineno) if isinstance(node, nodes.Expr) else None
        return super().visit(node, *args, **kwargs)

    def _report(self, node: nodes.Node, code: str, message: str, word: str = "") -> None:
        self._problems.append(self._sources.problem(node.lineno, code, message=message, word=word))

    def visit_Output(self, node: nodes.Output) -> nodes.Node:  # noqa: N802 - the visitor's naming
        """Every printed value goes through `_out`; a macro call, `super()` and `caller()` stay for `flatten`."""
        printed: list[nodes.Expr] = []
        for child in node.nodes:
            if isinstance(child, nodes.TemplateData):
                child.lineno += self._base
                printed.append(child)
            elif isinstance(child, nodes.Call) and isinstance(child.node, nodes.Name):
                child.lineno += self._base
                printed.append(self._macro_call(child))
            else:
                printed.append(filter_call(self.visit(child), "_out"))
        node.nodes = printed
        return node

    def _macro_call(self, node: nodes.Call) -> nodes.Call:
        node.node.lineno += self._base
        if node.dyn_args is not None or node.dyn_kwargs is not None:
            self._report(node, "not_allowed", "`*` and `**` are not possible in a call")
            node.dyn_args = node.dyn_kwargs = None
        node.args = [self.visit(arg) for arg in node.args]
        for keyword in node.kwargs:
            keyword.value = self.visit(keyword.value)
        return node

    def visit_Call(self, node: nodes.Call) -> nodes.Node:  # noqa: N802 - the visitor's naming
        """A few methods mean the filter of that name; nothing else can be called inside an expression."""
        target = node.node
        if isinstance(target, nodes.Getattr) and target.attr in METHODS and not (node.kwargs or node.dyn_args):
            return filter_call(self.visit(target.node), METHODS[target.attr], *[self.visit(arg) for arg in node.args])
        name = target.attr if isinstance(target, nodes.Getattr) else getattr(target, "name", "")
        message = f"'{name}' cannot be called here; use a filter, or print a macro by itself: {{{{ name(...) }}}}"
        self._report(node, "not_allowed", message, name)
        return nodes.Const("", lineno=node.lineno)

    def visit_CallBlock(self, node: nodes.CallBlock) -> nodes.Node:  # noqa: N802 - the visitor's naming
        """`{% call macro(...) %}`: the macro must be named plainly and give nothing back."""
        node.call.lineno += self._base
        if node.args or not isinstance(node.call.node, nodes.Name):
            self._report(node, "not_allowed", "{% call %} takes no arguments of its own and a plain macro name")
            return nodes.Output([], lineno=node.lineno)
        self._macro_call(node.call)
        node.body = self._bodies(node.body)
        return node

    def _bodies(self, body: list[nodes.Node]) -> list[nodes.Node]:
        return [found for found in (self.visit(child) for child in body) if found is not None]

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 - the visitor's naming
        """A loop pays for all its rounds before the first one: items times the elements of its body."""
        if node.recursive:
            self._report(node, "not_allowed", "a recursive loop is not possible")
        units = sum(node_count(child) for child in node.body) + (node_count(node.test) if node.test else 0)
        node.target = self.visit(node.target)
        node.iter = filter_call(self.visit(node.iter), "_each", units)
        self._loops += 1
        node.test = self.visit(node.test) if node.test else None
        node.body = self._bodies(node.body)
        self._loops -= 1
        node.else_ = self._bodies(node.else_)
        return node

    def visit_Name(self, node: nodes.Name) -> nodes.Node:  # noqa: N802 - the visitor's naming
        """`loop` belongs to loops, and only its members can be used."""
        if node.name in {"loop", "super", "self", "caller", "varargs", "kwargs"}:
            self._report(node, "not_allowed", f"'{node.name}' cannot be used by itself", node.name)
            return nodes.Name("_", node.ctx, lineno=node.lineno)
        return node

    def visit_Getattr(self, node: nodes.Getattr) -> nodes.Node:  # noqa: N802 - the visitor's naming
        """A chain of members becomes one look-up that knows its own name."""
        return self._chain(node)

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802 - the visitor's naming
        """`x['a b']` is a link of a chain, `x[y]` an item, `x[1:2]` a part."""
        if isinstance(node.arg, nodes.Slice):
            node.arg.lineno += self._base
            bounds = [self.visit(b) if b else None for b in (node.arg.start, node.arg.stop, node.arg.step)]
            return filter_call(self.visit(node.node), "_part", *bounds)
        if isinstance(node.arg, nodes.Const):
            return self._chain(node)
        dotted = f"{spelled(node.node)}[…]"
        return filter_call(self.visit(node.node), "_item", self.visit(node.arg), dotted, node.lineno)

    def _chain(self, node: nodes.Expr) -> nodes.Node:
        names: list[Any] = []
        root: nodes.Node = node
        while True:
            if isinstance(root, nodes.Getattr):
                names.append(root.attr)
            elif isinstance(root, nodes.Getitem) and isinstance(root.arg, nodes.Const):
                names.append(root.arg.value)
            else:
                break
            root = root.node
        names.reverse()
        dotted = spelled(node)
        if isinstance(root, nodes.Name) and root.name == "loop":
            return self._loop_member(node, names)
        if not all(isinstance(name, str | int) for name in names):
            self._report(node, "not_allowed", f"'{dotted}': a member's name is a text or a number")
            return nodes.Const("", lineno=node.lineno)
        return filter_call(self.visit(root), "_path", tuple(names), dotted, node.lineno)

    def _loop_member(self, node: nodes.Expr, names: list[Any]) -> nodes.Node:
        name = str(names[0])
        if not self._loops:
            self._report(node, "unknown_name", "'loop' exists only inside {% for %}", "loop")
        elif len(names) > 1 or name not in LOOP_MEMBERS:
            message = (
                f"unknown 'loop.{name}'{nearest(name, LOOP_MEMBERS)}; available: {', '.join(sorted(LOOP_MEMBERS))}"
            )
            self._report(node, "unknown_name", message, name)
        else:
            loop = nodes.Name("loop", "load", lineno=node.lineno)
            return nodes.Getattr(loop, name, "load", lineno=node.lineno)
        return nodes.Const("", lineno=node.lineno)

    def visit_Filter(self, node: nodes.Filter) -> nodes.Node:  # noqa: N802 - the visitor's naming
        """Only the filters we know, with arguments written out."""
        if node.node is None or node.dyn_args is not None or node.dyn_kwargs is not None:
            self._report(node, "not_allowed", f"filter '{node.name}' cannot be used like this", node.name)
            return nodes.Const("", lineno=node.lineno)
        if node.name not in FILTERS:
            message = f"unknown filter '{node.name}'{nearest(node.name, FILTERS)}"
            self._report(node, "unknown_filter", message, node.name)
        self._check_named(node)
        return self.generic_visit(node)

    def _check_named(self, node: nodes.Filter) -> None:
        """`selectattr('price', 'gt', 5)` names a test and `map('upper')` a filter: both have to be known ones."""
        at = TESTS_AT.get(node.name, 0 if node.name == "map" else None)
        if at is None or len(node.args) <= at:
            return
        name, of_map = node.args[at], node.name == "map"
        known = FILTERS if of_map else {**TESTS, **TEST_SIGNS}
        kind = "filter" if of_map else "test"
        if not isinstance(name, nodes.Const) or not isinstance(name.value, str):
            message = f"the name of the {kind} in '{node.name}' has to be text in quotes"
            self._report(node, "not_allowed", message, node.name)
        elif name.value not in known:
            mend = nearest(name.value, known)
            if not of_map and not mend:
                mend = f"; whether a member equals a value is '{node.name}(…, 'eq', {name.value!r})'"
            self._report(node, f"unknown_{kind}", f"unknown {kind} '{name.value}'{mend}", name.value)

    def visit_Test(self, node: nodes.Test) -> nodes.Node:  # noqa: N802 - the visitor's naming
        """Only the tests we know."""
        if node.name not in TESTS:
            self._report(node, "unknown_test", f"unknown test '{node.name}'{nearest(node.name, TESTS)}", node.name)
        return self.generic_visit(node)

    def visit_CondExpr(self, node: nodes.CondExpr) -> nodes.Node:  # noqa: N802 - the visitor's naming
        """`'x' if y` without `else` prints nothing when y does not hold."""
        if node.expr2 is None:
            node.expr2 = nodes.Const("", lineno=node.lineno - self._base)
        self.generic_visit(node)
        node.test = _present(node.test)
        return node

    def _asked(self, node: Any) -> nodes.Node:
        """Whether there is something: a blank text is nothing."""
        self.generic_visit(node)
        for field in {"test", "left", "right", "node"}.intersection(node.fields):
            setattr(node, field, _present(getattr(node, field)))
        return node  # type: ignore[no-any-return]

    visit_If = visit_And = visit_Or = visit_Not = _asked  # noqa: N815

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802 - the visitor's naming
        """A comparison of two values knows texts that are numbers; `in` and chains stay Jinja2's."""
        self.generic_visit(node)
        if len(node.ops) != 1 or node.ops[0].op not in COMPARED:
            return node
        return filter_call(node.expr, "_compare", node.ops[0].op, node.ops[0].expr)

    def _signed(self, node: nodes.Neg | nodes.Pos) -> nodes.Node:
        self.generic_visit(node)
        if isinstance(node.node, nodes.Const):
            return node
        sign = "-" if isinstance(node, nodes.Neg) else "+"
        return filter_call(nodes.Const(0, lineno=node.lineno), "_op", sign, node.node)

    visit_Neg = visit_Pos = _signed  # noqa: N815

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802 - the visitor's naming
        """`a ~ b` is bounded."""
        first, *rest = [self.visit(child) for child in node.nodes]
        return filter_call(first, "_concat", *rest)

    def visit_List(self, node: nodes.List) -> nodes.Node:  # noqa: N802 - the visitor's naming
        """A list of constants is a constant; with expressions in it, it must stay flat."""
        items = [self.visit(child) for child in node.items]
        if all(isinstance(item, nodes.Const | nodes.List | nodes.Tuple) for item in items):
            node.items = items
            return node
        return filter_call(items[0], "_flat", *items[1:])

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:  # noqa: N802 - the visitor's naming
        """An object written in a template holds constants only; there is little use for more."""
        self.generic_visit(node)
        for pair in node.items:
            if not isinstance(pair.key, nodes.Const) or not isinstance(pair.value, nodes.Const):
                self._report(pair, "not_allowed", "an object written in a template holds constants only")
        return node

    def _binary(self, node: nodes.BinExpr) -> nodes.Node:
        return filter_call(self.visit(node.left), "_op", SIGNS[type(node)], self.visit(node.right))

    visit_Add = visit_Sub = visit_Mul = visit_Div = visit_FloorDiv = visit_Mod = visit_Pow = _binary  # noqa: N815


def _present(node: Any) -> Any:
    """A value that is read from data, where it is asked whether there is one."""
    read = isinstance(node, nodes.Name) or (isinstance(node, nodes.Filter) and node.name in {"_path", "_item"})
    return filter_call(node, "_present") if read else node


def spelled(node: nodes.Node) -> str:
    """Return a chain of members as it is written, for messages."""
    if isinstance(node, nodes.Name):
        return str(node.name)
    if isinstance(node, nodes.Getattr):
        return f"{spelled(node.node)}.{node.attr}"
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        return f"{spelled(node.node)}.{node.arg.value}"
    return "(…)"


def walk(tree: nodes.Node) -> Iterator[nodes.Node]:
    """Yield every node of a tree, itself first, in the order written."""
    yield tree
    for child in tree.iter_child_nodes():
        yield from walk(child)
