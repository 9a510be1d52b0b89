// Topic names as spec/wire.md spells them, and what is none of ours.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { sha256, toHex } from '../../../node/protocol/bytes.ts';
import { networkIdOf } from '../../../node/protocol/network-id.ts';
import {
  isKindOfTopic,
  isMessageKind,
  MESSAGE_KINDS,
  parseTopic,
  topicOf,
  topicsOfRecipe,
} from '../../../node/protocol/topics.ts';

const RECIPE = toHex(sha256('recipe'));

describe('topics', () => {
  it('are spelled as the spec has them', () => {
    assert.equal(topicOf('main', 'recipe', null), '/murmuration/main/recipes/1');
    assert.equal(topicOf('main', 'offer', null), '/murmuration/main/recipes/1');
    assert.equal(topicOf('main', 'group', RECIPE), `/murmuration/main/${RECIPE}/groups/1`);
    assert.equal(topicOf('main', 'verdict', RECIPE), `/murmuration/main/${RECIPE}/verdicts/1`);
    assert.equal(topicOf('main', 'secret', RECIPE), `/murmuration/main/${RECIPE}/verdicts/1`);
    assert.equal(topicOf('main', 'manifest', RECIPE), `/murmuration/main/${RECIPE}/weights/1`);
    assert.equal(topicOf('main', 'continuation', RECIPE), `/murmuration/main/${RECIPE}/weights/1`);
    assert.throws(() => topicOf('main', 'group', null), { code: 'INTERNAL' });
  });

  it('tell their parts, and which kinds they carry', () => {
    for (const kind of MESSAGE_KINDS) {
      const topic = parseTopic(topicOf('a-b.c', kind, RECIPE));
      assert.ok(topic !== null);
      assert.equal(topic.network, 'a-b.c');
      assert.equal(isKindOfTopic(kind, topic), true);
      assert.equal(topic.recipeIdHex, topic.channel === 'recipes' ? null : RECIPE);
    }
    const groups = parseTopic(topicOf('main', 'group', RECIPE))!;
    assert.equal(isKindOfTopic('verdict', groups), false);
    assert.equal(topicsOfRecipe('main', RECIPE).length, 3);
  });

  it('of others are none of ours', () => {
    const bad = [
      '',
      '/murmuration/main/recipes/2',
      `/murmuration/main/${RECIPE}/recipes/1`,
      '/murmuration/main/ab/groups/1',
    ];
    for (const text of [...bad, `/murmuration/a/b/${RECIPE}/groups/1`]) assert.equal(parseTopic(text), null);
    assert.equal(isMessageKind('constructor'), false);
  });
});

describe('a network', () => {
  it('has the hash of its name as id', () => assert.deepEqual(networkIdOf('main'), sha256('main')));

  it('has a name that fits a topic', () => {
    for (const name of ['', 'a/b', 'a b', '-a', 'ä', 'x'.repeat(65)]) {
      assert.throws(() => networkIdOf(name), { code: 'USAGE' });
    }
  });
});
