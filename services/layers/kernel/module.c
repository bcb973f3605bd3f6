/* What Python sees: functions of addresses and sizes, which check neither. */

#define Py_LIMITED_API 0x030b0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "recurrent.h"
#include "stack.h"

/* Goes up with every change of a function's numbers, of a struct, and of how weights and buffers lie, so that a
   kernel compiled before is not taken for this one; _EDITION in `services.layers.compiled`. */
#define EDITION 1

static int read_numbers(PyObject *const *arguments, Py_ssize_t count, Py_ssize_t wanted, long long *numbers) {
    if (count != wanted) {
        PyErr_Format(PyExc_TypeError, "takes %zd numbers, not %zd", wanted, count);
        return 0;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        numbers[i] = PyLong_AsLongLong(arguments[i]);
        if (numbers[i] == -1 && PyErr_Occurred()) return 0;
    }
    return 1;
}

static PyObject *py_product(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    long long number[6];
    int done;
    (void)self;
    if (!read_numbers(arguments, count, 6, number)) return NULL;
    Means means = {number[4], number[5]};
    Py_BEGIN_ALLOW_THREADS
    done = product((const Layer *)number[0], (const float *)number[1], number[2], (float *)number[3], WRITE, means);
    Py_END_ALLOW_THREADS
    if (!done) return PyErr_NoMemory();
    Py_RETURN_NONE;
}

static PyObject *py_run_pass(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    long long number[2];
    int done;
    (void)self;
    if (!read_numbers(arguments, count, 2, number)) return NULL;
    Py_BEGIN_ALLOW_THREADS
    done = run_pass((const Stack *)number[0], (const Pass *)number[1]);
    Py_END_ALLOW_THREADS
    if (!done) return PyErr_NoMemory();
    Py_RETURN_NONE;
}

static PyObject *py_run_recurrent(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    long long number[7];
    int done;
    (void)self;
    if (!read_numbers(arguments, count, 7, number)) return NULL;
    Means means = {number[5], number[6]};
    Py_BEGIN_ALLOW_THREADS
    done = run_recurrent((const Recurrent *)number[0], (const float *)number[1], number[2], number[3],
                         (float *)number[4], means);
    Py_END_ALLOW_THREADS
    if (!done) return PyErr_NoMemory();
    Py_RETURN_NONE;
}

static PyObject *py_use_threads(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    long long number[3];
    (void)self;
    if (!read_numbers(arguments, count, 3, number)) return NULL;
    use_threads((void *)number[0], (void *)number[1], (void *)number[2]);
    Py_RETURN_NONE;
}

static PyObject *py_ask_for_tiles(PyObject *self, PyObject *nothing) {
    (void)self, (void)nothing;
    return PyBool_FromLong(ask_for_tiles());
}

#define FAST(FUNCTION) (PyCFunction)(void (*)(void))FUNCTION, METH_FASTCALL

static PyMethodDef methods[] = {
    {"product", FAST(py_product), "product(layer, x, tokens, y, threads, tiles): see product.h"},
    {"run_pass", FAST(py_run_pass), "run_pass(stack, pass): see stack.h"},
    {"run_recurrent", FAST(py_run_recurrent),
     "run_recurrent(layer, x, batch, steps, states, threads, tiles): see recurrent.h"},
    {"use_threads", FAST(py_use_threads),
     "use_threads(GOMP_parallel, omp_get_thread_num, omp_get_num_threads)"},
    {"ask_for_tiles", py_ask_for_tiles, METH_NOARGS, "Whether the system lets this process use AMX."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_kernel", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__kernel(void) {
    PyObject *made = PyModule_Create(&module);
    if (made && PyModule_AddIntConstant(made, "EDITION", EDITION) < 0) {
        Py_DECREF(made);
        return NULL;
    }
    return made;
}
