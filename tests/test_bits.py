"""The script that holds a change of the code against the numbers from before it."""

import bits
import numpy as np

FEW = ("lm", "adam, stream, sparse", "evidence, members, weights", "callable, theta set")
CASES = {name: bits.CASES[name] for name in FEW}


def changed(source, target, key, change):
    with np.load(source) as arrays:
        arrays = dict(arrays)
    arrays[key] = change(arrays[key])
    np.savez(target, **arrays)


def test_the_bits_of_fits_compare_as_the_same_and_a_changed_one_is_named(tmp_path, capsys):
    kept, other = str(tmp_path / "kept.npz"), str(tmp_path / "other.npz")
    assert bits.main(["--save", kept], CASES) == 0
    assert bits.main(["--compare", kept], CASES) == 0
    assert "\n0 of 4 fits differ" in capsys.readouterr().out

    changed(kept, other, "lm/theta_", lambda theta: theta * (1 + 1e-9))
    assert bits.main(["--compare", other], CASES) == 1
    out = capsys.readouterr().out
    assert "differs  lm\n  theta_: 1.0e-09\n" in out
    assert out.endswith("\n1 of 4 fits differ\n")
    assert bits.main(["--compare", other, "--rtol", "1e-8"], CASES) == 0

    changed(kept, other, "lm/message_", lambda message: np.asarray("Done."))
    assert bits.main(["--compare", other, "--rtol", "1e-8"], CASES) == 1
    assert "  message_: 'Done.' is now '" in capsys.readouterr().out
