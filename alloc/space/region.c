/*
 * region.c - a space's regions as an AVL tree in simulated RAM.
 *
 *                 [0x8000, 0xa000)  height 2
 *                /                \
 *      [0x1000, 0x3000)      [0x40000, 0x41000)        in order: bases ascend
 *
 * Invariants
 *  1  In order, each region's end is at most the next one's base; none is empty.
 *  2  height is 1 + the larger of the children's, which differ by at most 1.
 *
 * Cost: look-up, insertion and removal O(log n); recursion as deep as the tree, 1.44 log2 n: 24
 * levels for 65,536 regions.
 *
 * Reference: Adelson-Velsky and Landis 1962. Windows keeps its virtual address descriptors in such
 * a tree; Linux used one until 2.4.9, then a red-black tree, then a maple tree.
 */
#include "alloc/space/region.h"

static unsigned height(const struct region *r)
{
	return r ? r->height : 0;
}

static void update(struct region *r)
{
	unsigned left = height(r->left), right = height(r->right);

	r->height = (uint8_t)(1 + (left > right ? left : right));
}

static struct region *rotate_right(struct region *r)
{
	struct region *top = r->left;

	r->left = top->right;
	top->right = r;
	update(r);
	update(top);
	return top;
}

static struct region *rotate_left(struct region *r)
{
	struct region *top = r->right;

	r->right = top->left;
	top->left = r;
	update(r);
	update(top);
	return top;
}

static struct region *balance(struct region *r)
{
	update(r);
	if (height(r->left) > height(r->right) + 1) {
		if (height(r->left->right) > height(r->left->left))
			r->left = rotate_left(r->left);
		return rotate_right(r);
	}
	if (height(r->right) > height(r->left) + 1) {
		if (height(r->right->left) > height(r->right->right))
			r->right = rotate_right(r->right);
		return rotate_left(r);
	}
	return r;
}

struct region *region_below(struct region *root, uint64_t address)
{
	struct region *best = NULL;

	while (root) {
		if (root->base <= address) {
			best = root;
			root = root->right;
		} else {
			root = root->left;
		}
	}
	return best;
}

struct region *region_above(struct region *root, uint64_t address)
{
	struct region *best = NULL;

	while (root) {
		if (root->base > address) {
			best = root;
			root = root->left;
		} else {
			root = root->right;
		}
	}
	return best;
}

struct region *region_first(struct region *root)
{
	while (root && root->left)
		root = root->left;
	return root;
}

struct region *region_find(struct region *root, uint64_t address)
{
	struct region *below = region_below(root, address);

	return below && address < below->end ? below : NULL;
}

struct region *region_insert(struct region *root, struct region *new)
{
	if (!root) {
		new->left = NULL;
		new->right = NULL;
		new->height = 1;
		return new;
	}
	if (new->base < root->base)
		root->left = region_insert(root->left, new);
	else
		root->right = region_insert(root->right, new);
	return balance(root);
}

/* The first of a subtree leaves it. */
static struct region *remove_first(struct region *r, struct region **first)
{
	if (!r->left) {
		*first = r;
		return r->right;
	}
	r->left = remove_first(r->left, first);
	return balance(r);
}

struct region *region_remove(struct region *root, struct region *region)
{
	struct region *heir;

	if (region->base < root->base) {
		root->left = region_remove(root->left, region);
		return balance(root);
	}
	if (region->base > root->base) {
		root->right = region_remove(root->right, region);
		return balance(root);
	}
	if (!root->right)
		return root->left;
	struct region *right = remove_first(root->right, &heir);

	heir->left = root->left;
	heir->right = right;
	return balance(heir);
}

/* *END: where the last region so far ends. */
static unsigned check_tree(const struct region *r, uint64_t *end)
{
	if (!r)
		return 0;
	unsigned broken = check_tree(r->left, end);

	if (broken)
		return broken;
	if (r->base < *end || r->end <= r->base)
		return 1;
	*end = r->end;
	unsigned left = height(r->left), right = height(r->right);

	if (r->height != 1 + (left > right ? left : right) || left > right + 1 || right > left + 1)
		return 2;
	return check_tree(r->right, end);
}

unsigned region_check(const struct region *root)
{
	uint64_t end = 0;

	return check_tree(root, &end);
}
